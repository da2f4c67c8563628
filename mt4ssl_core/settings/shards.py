"""What shards are called and what they default to; without torch, for the command line."""

FACTS = "shards.json"  # in a folder of shards, once all of them are written
JOB = "shards.job.json"  # until then
FORMATS = ("flac", "opus", "wav", "as-is")  # of the audio in them
SHARD_MB = 256  # of a tar
