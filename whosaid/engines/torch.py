"""Where torch computes is chosen here. What it computes is not; see the model libraries' files."""

import torch


def choose_device(device: str) -> torch.device:
    """Return the device asked for; for `auto` the GPU if torch can use one."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(device)


def cuda_version() -> str | None:
    """Return the CUDA version that torch uses on this machine, `None` if it can't use a GPU."""
    return torch.version.cuda if torch.cuda.is_available() else None
