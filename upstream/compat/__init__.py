"""What s3prl 0.4.18, and ESPnet's fork of it, need to run, unmodified, on today's stack.

One file per foreign thing. Every file says what breaks, why, since which version, how it is mended
and when the file can be deleted, and offers ``install() -> bool``: True when the patch was
applied. Calling it twice changes nothing. A patch for something that a stack may have or lack (a
package, a function that was removed, s3prl's corpora) looks before it acts and leaves alone what is
there; those for faults of s3prl itself apply on every stack.

`install` mends what the import of s3prl and its runner need; `install_for` mends what one task
needs, before its expert is imported. A new task adds its files and one line to ``TASKS``.
"""

import importlib

from upstream.door import packages

# before `import s3prl.hub`, torchaudio's import first
BASE = ("torchaudio_pair", "torchaudio_io", "sox_effects", "torch_load", "hf_hub", "no_code")
# after s3prl can be imported
RUNNER = ("hub_names", "isinstance_hack", "progress_bar", "ddp", "scheduler_resume")
# s3prl's name of a downstream folder -> what its expert needs
TASKS: dict[str, tuple[str, ...]] = {
    "enhancement_stft": ("asteroid", "stft_device"),
    "separation_stft": ("asteroid", "stft_device"),
    "a2o-vc-vcc2020": ("vc_stats", "vc_loss", "vc_griffin_lim", "pyworld_version"),
    "speech_commands": ("catalyst",),
    "speech_translation": ("fairseq_names",),
    "voxceleb1": ("sid_cache",),
    "diarization": ("sd_pipes",),
    "quesst14_dtw": ("qbe_workers",),
    "sv_voxceleb1": ("sox_package", "asv_lengths", "asv_expert"),
    "ctc": (
        *("ctc_corpus", "ctc_snips", "ctc_common_voice"),
        *("ctc_phones", "ctc_letters", "ctc_workers"),
    ),
    "asr": ("asr_decoder",),
}

_applied: list[str] = []


def install() -> list[str]:
    """Make ``s3prl.hub`` and s3prl's runner importable; return all patches applied so far.

    Raises:
        ValueError: s3prl or the torchaudio that belongs to this torch is not installed.
    """
    packages.s3prl()
    _apply(BASE)
    _apply(RUNNER)
    return list(_applied)


def install_for(downstream: str) -> list[str]:
    """Apply what one of s3prl's downstream folders needs too; return all applied so far."""
    install()
    _apply(TASKS.get(downstream, ()))
    return list(_applied)


def _apply(names: tuple[str, ...]) -> None:
    for name in names:
        patch = importlib.import_module(f"{__name__}.{name}")
        if patch.install():
            _applied.append(name)
