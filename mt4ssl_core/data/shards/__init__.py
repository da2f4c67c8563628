"""Shards: audio with its labels in tar files of equal size, for corpora that do not fit.

In: any corpus. Out: a folder that `mt4ssl pretrain` reads shard by shard; each tar has an index of
offsets beside it, so that what is wanted next is known without reading any audio.
"""
