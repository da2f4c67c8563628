"""``torch.hub.load(FOLDER_OF_THIS_FILE, "mt4ssl", CKPT, source="local")``: nothing but names."""

from mt4ssl import load as mt4ssl

__all__ = ["mt4ssl"]

dependencies = ["torch", "numpy", "yaml", "soundfile", "soxr", "lhotse", "safetensors", "tqdm"]
