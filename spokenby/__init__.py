"""Videos in, transcripts out; nothing is sent anywhere unasked."""

import os

QUIET = {
    # onnxruntime: each process looks up its vendor's host and writes an identifier of this device
    # into ~/.cache. It reads no other variable.
    "ORT_DISABLE_TELEMETRY": "1",
    # pyannote.audio: reports usage to an outside endpoint.
    "PYANNOTE_METRICS_ENABLED": "0",
    # huggingface_hub, also when a model is fetched that somebody asked for.
    "HF_HUB_DISABLE_TELEMETRY": "1",
    # Prefect's client.
    "DO_NOT_TRACK": "1",
}
"""What keeps libraries from reporting. Each reads its variable when it is imported: that is after
this package. A user's own value is kept."""

for name, value in QUIET.items():
    os.environ.setdefault(name, value)
