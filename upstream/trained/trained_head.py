"""A trained head with its encoder: waveforms in, predictions out."""

import argparse
import io
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mt4ssl_core.data.audio import SAMPLE_RATE
from mt4ssl_core.distributed import choose_device
from mt4ssl_core.files import user_path
from mt4ssl_core.labelling.frame_features import out_of_memory
from mt4ssl_core.lines import say
from upstream.door import cache, hub, s3prl_names
from upstream.door.expert import UpstreamExpert
from upstream.heads import arguments, command, experiment, labels, runner, states
from upstream.heads.labels import LABEL, SYMBOL, Labels
from upstream.heads.s3prl_runner import Runner, set_up
from upstream.heads.task_request import TaskRequest
from upstream.store.options import OFF, StoreOptions
from upstream.trained.answers import Prediction, classify, gives_text, text_mode, transcribe
from upstream.trained.head_model import SECTIONS, HeadModel

from s3prl.downstream.runner import ModelEntry  # isort: skip

_KS_GAIN = -3.0  # decibels by which s3prl changes the level of KS's audio


class TrainedHead:
    """A trained head with its encoder, in eval mode.

    Args:
        source: a checkpoint of an experiment, or its folder: then the best head.
        ckpt: its encoder; None: where the head says that it was.
        root: the folder of its corpus, for a head that does not know what its outputs are called.
        device: "auto", "cpu", "cuda" or "cuda:N".

    Attributes:
        task: its code, such as "ks".
        labels: what it chooses ("label"; the slots of an intent; "symbol" of text) -> the names.
        gives_text: whether it writes down what was said.
        isolated: whether an utterance's features are the same alone and in a batch.
        path: its checkpoint.
        ckpt: that of its encoder; None of such as fbank.

    Raises:
        ValueError: no such head, one of another task, its encoder is not there or another one, or
            it does not know what its outputs are called.
    """

    def __init__(
        self,
        source: str | Path,
        *,
        ckpt: str | None = None,
        root: str | Path | None = None,
        device: str = "auto",
    ) -> None:
        self.path = _find(user_path(source))
        stored = states.read(self.path, "")
        args, self._config = stored["Args"], stored["Config"]
        self._folder: str = args.downstream
        self.task: str = (self._config.get("superb") or {}).get("code", self._folder)
        if self._folder not in SECTIONS:
            raise ValueError(
                f"{self.path}: a head of {self.task}, of which there is no label or text to say; "
                "give one of ks, sid, ic, er, pr, asr or sf, or of task train (not verify)"
            )
        args = argparse.Namespace(**{**arguments.defaults(), **vars(args)})
        args.device = str(choose_device(device))
        args.mode, args.init_ckpt, args.upstream_refresh = "evaluate", str(self.path), False
        s3prl_names.check(args, self._config)
        self.ckpt: str | None = _encoder(args, stored, self.path, ckpt)
        self._gain, self._mode = _gain(self._folder, self._config), text_mode(self._config)
        with _quietly():
            parts = _WithoutCorpus(args, self._config, StoreOptions(OFF))
        self._upstream, self._featurizer = (
            parts.upstream.model.eval(),
            parts.featurizer.model.eval(),
        )
        self._model: HeadModel = parts.downstream.model
        self.device, self.gives_text = args.device, gives_text(self._folder)
        expert = getattr(self._upstream, "model", self._upstream)  # perhaps of TransformedFeatures
        self.isolated = isinstance(expert, UpstreamExpert) and expert.encoder.isolated
        self.labels = stored.get(labels.KEY) or self._labels_of_corpus(root)
        self._check_labels()

    def check_top(self, top: int) -> None:
        """Raise ValueError where the head does not have so many answers."""
        if top < 1:
            raise ValueError(f"top {top}: give 1 or more")
        if top > 1 and self.gives_text:
            raise ValueError(f"top {top}: a head of {self.task} gives one text; leave it out")

    @torch.no_grad()
    def features(self, waves: Sequence[np.ndarray]) -> list[Tensor]:
        """Return what the head sees of waveforms (N,) at 16 kHz, encoded together: of each (T, D).

        Where `isolated` is not true, another batch has other features.
        """
        given = [self._as_in_the_test(torch.from_numpy(wave)).to(self.device) for wave in waves]
        found: list[Tensor] = self._featurizer(given, self._upstream(given))
        return found

    @torch.no_grad()
    def read(self, features: Tensor, top: int = 1) -> Prediction:
        """Return what the head says of an utterance's features (T, D); of classes the ``top`` best.

        Raises:
            ValueError: the utterance is too short for this head, or its outputs are not finite.
        """
        try:
            logits = self._model(features)
        except RuntimeError as error:
            if out_of_memory(error):
                raise
            raise ValueError(f"{len(features)} frames are too few for this head") from error
        if not bool(logits.isfinite().all()):
            raise ValueError("features or outputs with NaN or infinity; use another head")
        if self.gives_text:
            return transcribe(self._folder, self._mode, self.labels, logits)
        return classify(self.labels, logits, top)

    def _as_in_the_test(self, wave: Tensor) -> Tensor:
        if not self._gain:
            return wave
        from torchaudio.sox_effects import apply_effects_tensor

        effects = [["gain", str(self._gain)]]
        changed: Tensor = apply_effects_tensor(wave[None], SAMPLE_RATE, effects)[0][0]
        return changed

    def _labels_of_corpus(self, root: str | Path | None) -> Labels:
        """Return what the outputs are called, as the corpus has it."""
        if self._folder in labels.FIXED:
            return labels.of_expert(self._folder, None)
        with tempfile.TemporaryDirectory() as folder, _quietly():
            request = TaskRequest(
                mode="evaluate", past_exp=str(self.path), upstream_ckpt=self.ckpt, expdir=folder,
                device="cpu", store=StoreOptions(OFF), root=None if root is None else str(root),
            )  # fmt: skip
            try:
                built = runner.build_runner(command.settle(request))
            except ValueError as error:
                if root is not None:
                    raise
                raise ValueError(
                    f"{self.path}: does not say what its outputs are called, as heads trained now "
                    f"do, and its corpus is not found ({error}); give the corpus with --root DIR"
                ) from error
        return labels.of_expert(self._folder, built.downstream.model)

    def _check_labels(self) -> None:
        """See that there is a name for every output."""
        wanted = ({SYMBOL},) if self.gives_text else ({LABEL}, set(labels.INTENT))
        if not labels.are_labels(self.labels) or set(self.labels) not in wanted:
            raise ValueError(
                f"{self.path}: its outputs have no names (word pieces have none); give another head"
            )
        named = sum(map(len, self.labels.values()))
        if named != self._model.outputs:
            raise ValueError(
                f"{self.path}: has {self._model.outputs} outputs, and names of {named}; give the "
                "corpus that it was trained on with --root DIR, or another head"
            )


class _WithoutCorpus(Runner):
    """s3prl's runner with encoder, weighted sum and head, and no data."""

    def _get_downstream(self) -> Any:
        args, sums = self.args, self.featurizer.model
        what = f"{args.init_ckpt}: its weights are not those of its config"
        with set_up(what, "give another head"):
            model = HeadModel(
                args.downstream,
                self.config,
                sums.output_dim,
                sums.downsample_rate,
                self.init_ckpt["Downstream"],
            )
        return ModelEntry(model.to(args.device), "Downstream", False, [])


def _gain(folder: str, config: Mapping[str, Any]) -> float:
    """Return by how many decibels the level of audio is changed for a task."""
    own = config["downstream_expert"].get("datarc", {}).get("gain", 0.0)
    if type(own) not in (int, float):
        raise ValueError(f"config.downstream_expert.datarc.gain: {own!r}; expected decibels")
    return _KS_GAIN if folder == "speech_commands" else float(own)


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep what s3prl prints while it builds to itself."""
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        yield


def _find(path: Path) -> Path:
    """Return the head that is meant: a file, or the best one of an experiment's folder."""
    if not path.is_dir():
        return path
    if not states.newest(path) and not list(path.glob("*best*.ckpt")):
        below = sorted({str(file.parent) for file in path.rglob("*.ckpt")})
        there = f"such as {below[0]}" if below else "as run_downstream.py and superb run leave it"
        raise ValueError(f"{path}: holds no head; give the folder of an experiment, {there}")
    return states.best_checkpoint(path)


def _encoder(args: Any, stored: dict[str, Any], path: Path, ckpt: str | None) -> str | None:
    """Put the checkpoint of the encoder into ``args``, and see that it is the head's; return it.

    Raises:
        ValueError: it is not there, or another one.
    """
    if ckpt and not args.upstream_ckpt:
        raise ValueError(f"-k {ckpt}: {path} is of {args.upstream}, without a file; leave -k out")
    args.upstream_ckpt = hub.own(args.upstream, ckpt)[1] if ckpt else args.upstream_ckpt
    given = args.upstream_ckpt
    if given and not ckpt and not cache.is_url(given) and not cache.exists(given):
        raise ValueError(
            f"{path}: was trained on {given}, which is not there; give that encoder with -k CKPT"
        )
    command.resolve_upstream(args)
    kept = stored.get(states.FINGERPRINT) or (experiment.read(path.parent) or {}).get("fingerprint")
    found = cache.fingerprint_of(args.upstream_ckpt)
    if kept and found != kept:
        raise ValueError(
            f"{args.upstream_ckpt}: another encoder (fingerprint {found}) than {path} was trained "
            f"on ({kept}); give that one with -k CKPT"
        )
    if ckpt and not kept:
        note = f"{path}: does not say which encoder it was trained on; taken on trust: {given}"
        say(note, sys.stderr)
    return str(args.upstream_ckpt) if args.upstream_ckpt else None
