"""Turn long videos into transcripts that say who said what, when."""

import os

# Libraries that report to their vendors unless told not to, each in its own way and before its
# import. onnxruntime also keeps an id of the device in the user's folder.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("DO_NOT_TRACK", "1")

# The threads of OpenMP, which torch and CTranslate2 use, otherwise spin while they wait for each
# other: four runs on two cores take 1.3 times as long. See tests/benchmarks/waiting_threads.py.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
