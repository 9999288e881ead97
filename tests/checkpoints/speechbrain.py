"""An ECAPA-TDNN encoder in SpeechBrain's real format, with random weights, is made here.

It is small, or of full size for `tests/benchmarks/`. Nothing is tested here; see
`tests/engines/test_speechbrain.py`.
"""

import os
from pathlib import Path

os.environ["SB_DISABLE_QUIRKS"] = "allow_tf32,disable_jit_profiling"

import torch
from speechbrain.dataio.encoder import CategoricalEncoder
from speechbrain.lobes.models.ECAPA_TDNN import ECAPA_TDNN, Classifier

DIMENSION = 192
SPEAKERS = 16

# Those of spkrec-ecapa-voxceleb, but for fewer channels where it is small.
FULL_SIZE = {
    "channels": [1024, 1024, 1024, 1024, 3072],
    "attention_channels": 128,
    "se_channels": 128,
    "res2net_scale": 8,
}
SMALL = {
    "channels": [16, 16, 16, 16, 48],
    "attention_channels": 16,
    "se_channels": 16,
    "res2net_scale": 4,
}
HYPERPARAMS = f"""\
pretrained_path: {{pretrained_path}}
n_mels: 80
out_n_neurons: {SPEAKERS}
compute_features: !new:speechbrain.lobes.features.Fbank
    n_mels: !ref <n_mels>
mean_var_norm: !new:speechbrain.processing.features.InputNormalization
    norm_type: sentence
    std_norm: False
embedding_model: !new:speechbrain.lobes.models.ECAPA_TDNN.ECAPA_TDNN
    input_size: !ref <n_mels>
    channels: {{channels}}
    kernel_sizes: [5, 3, 3, 3, 1]
    dilations: [1, 2, 3, 4, 1]
    attention_channels: {{attention_channels}}
    se_channels: {{se_channels}}
    res2net_scale: {{res2net_scale}}
    lin_neurons: {DIMENSION}
classifier: !new:speechbrain.lobes.models.ECAPA_TDNN.Classifier
    input_size: {DIMENSION}
    out_neurons: !ref <out_n_neurons>
mean_var_norm_emb: !new:speechbrain.processing.features.InputNormalization
    norm_type: global
    std_norm: False
modules:
    compute_features: !ref <compute_features>
    mean_var_norm: !ref <mean_var_norm>
    embedding_model: !ref <embedding_model>
    mean_var_norm_emb: !ref <mean_var_norm_emb>
    classifier: !ref <classifier>
label_encoder: !new:speechbrain.dataio.encoder.CategoricalEncoder
pretrainer: !new:speechbrain.utils.parameter_transfer.Pretrainer
    loadables:
        embedding_model: !ref <embedding_model>
        mean_var_norm_emb: !ref <mean_var_norm_emb>
        classifier: !ref <classifier>
        label_encoder: !ref <label_encoder>
    paths:
        embedding_model: !ref <pretrained_path>/embedding_model.ckpt
        mean_var_norm_emb: !ref <pretrained_path>/mean_var_norm_emb.ckpt
        classifier: !ref <pretrained_path>/classifier.ckpt
        label_encoder: !ref <pretrained_path>/label_encoder.txt
"""


def build_encoder(
    folder: Path,
    pretrained_path: str = "speechbrain/spkrec-ecapa-voxceleb",
    seed: int = 0,
    *,
    full_size: bool = False,
) -> Path:
    """Write an encoder whose hyperparams name a hub model as their origin, as the real one's do."""
    from speechbrain.processing.features import InputNormalization

    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    size = FULL_SIZE if full_size else SMALL
    encoder = ECAPA_TDNN(
        80,
        kernel_sizes=[5, 3, 3, 3, 1],
        dilations=[1, 2, 3, 4, 1],
        lin_neurons=DIMENSION,
        **size,
    )
    classifier = Classifier(DIMENSION, out_neurons=SPEAKERS)
    torch.save(encoder.state_dict(), folder / "embedding_model.ckpt")
    torch.save(classifier.state_dict(), folder / "classifier.ckpt")
    norm = InputNormalization(norm_type="global", std_norm=False)
    norm(torch.randn(4, 1, DIMENSION), torch.ones(4))
    norm._save(str(folder / "mean_var_norm_emb.ckpt"))
    labels = CategoricalEncoder()
    labels.update_from_iterable(
        [f"id{number:05d}" for number in range(SPEAKERS)], sequence_input=False
    )
    labels.save(folder / "label_encoder.txt")
    (folder / "hyperparams.yaml").write_text(
        HYPERPARAMS.format(pretrained_path=pretrained_path, **size)
    )
    return folder
