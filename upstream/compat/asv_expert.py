"""Three faults of s3prl's ASV expert.

What: on a CPU, or on a GPU that is not the current one, training fails (``.cuda()`` of the mask);
    ``-t dev`` fails, as it looks for the embeddings of the test trials; the file of true labels is
    empty.
Why: the device is written into the code; the trials are always those of the test set; nothing puts
    the labels where they are written from.
Since: s3prl 0.4.18.
Here: the mask goes where the features are; dev is scored on its own trials; the labels are there.
Delete when: s3prl's sv_voxceleb1/expert.py does these.
"""

import functools
from typing import Any

import torch


def install() -> bool:
    """Mend the expert's forward and log_records."""
    from s3prl.downstream.sv_voxceleb1 import expert

    mended: Any = expert.DownstreamExpert
    if getattr(mended.forward, "mended", False):
        return False
    mended.forward = _anywhere(mended.forward)
    mended.log_records = _own_trials(mended.log_records)
    return True


def _anywhere(original: Any) -> Any:
    @functools.wraps(original)
    def forward(self: Any, mode: str, features: Any, *args: Any, **kwargs: Any) -> Any:
        tensor_class: Any = torch.Tensor
        to_gpu, device = tensor_class.cuda, features[0].device
        tensor_class.cuda = lambda tensor, *_, **__: tensor.to(device)
        try:
            return original(self, mode, features, *args, **kwargs)
        finally:
            tensor_class.cuda = to_gpu

    forward.mended = True  # type: ignore[attr-defined]
    return forward


def _own_trials(original: Any) -> Any:
    @functools.wraps(original)
    def log_records(self: Any, mode: str, records: Any, *args: Any, **kwargs: Any) -> Any:
        if mode == "train":
            return original(self, mode, records, *args, **kwargs)
        test = self.test_dataset
        try:
            if mode == "dev":
                self.test_dataset = self.dev_dataset
            records["labels"] = [label for label, *_ in self.test_dataset.pair_table]
            return original(self, mode, records, *args, **kwargs)
        finally:
            self.test_dataset = test

    return log_records
