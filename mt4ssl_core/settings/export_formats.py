"""What a checkpoint can be exported as; without torch, for the command line."""

FORMATS = ("hf", "fairseq", "torchaudio", "compact")
WITH_CARD = ("hf", "compact")  # a model card
