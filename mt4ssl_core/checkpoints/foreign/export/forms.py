"""Forms of an encoder that no other toolkit has."""

from pathlib import Path

from mt4ssl_core.config import EncoderConfig


def check_frontend(cfg: EncoderConfig, origin: str | Path, toolkit: str) -> None:
    """Raise ValueError naming ``origin``: its encoder does not hear waveforms."""
    if cfg.frontend != "conv":
        raise ValueError(
            f"{origin}: encoder.frontend is {cfg.frontend}, and {toolkit} has no model of these "
            "encoders on log-mel frames; use it through mt4ssl.load, or export one with conv"
        )
