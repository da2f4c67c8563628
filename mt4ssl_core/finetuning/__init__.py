"""Fine-tuning: from an encoder and transcribed speech to a recogniser.

In: a config of `mt4ssl_core.settings.finetuning`. Out: a folder as of pre-training (checkpoints,
log.jsonl, skipped.txt); a checkpoint holds an encoder, a CTC head and its vocabulary.
"""
