"""pyannote.audio's speaker diarization, with one network pass per chunk.

This package sets up the environment before any of its modules imports pyannote.audio.
"""

import logging
import os
import warnings

os.environ["PYANNOTE_METRICS_ENABLED"] = "0"  # it would report usage to an outside endpoint
os.environ["HF_HUB_OFFLINE"] = "1"
# It imports speechbrain, which would switch TF32 on for the whole process.
os.environ["SB_DISABLE_QUIRKS"] = "allow_tf32,disable_jit_profiling"
warnings.filterwarnings("ignore", message=r"\s*torchcodec is not installed correctly")
warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
warnings.filterwarnings("ignore", message=r"std\(\): degrees of freedom is <= 0")
logging.getLogger("lightning.pytorch.utilities.migration").setLevel(logging.ERROR)

from spokenby.engines.pyannote.engine import Pyannote  # noqa: E402 - after the environment

__all__ = ["Pyannote"]
