"""Features of a frozen upstream for one task: whether they are stored, and how they are read.

In: what is asked of the store, a task and an upstream. Out: features in the place of the
upstream, and what results say of them.

Why waveforms are lazy (`lazy_wave`, `lazy_audio`, `lazy_readers`): once features are stored, most
of an epoch of a pooled task is decoding audio that nobody hears. CPU seconds of a warm epoch, lazy
against decoded and looked up by content (mini_superb's corpora, SUPERB's heads on a small encoder,
one thread, the two alternated, medians of three): KS 0.86 against 2.01, SID 0.22 against 0.52, IC
0.09 against 0.33, ER 0.22 against 0.30 (s3prl holds its audio in memory). With longer utterances,
SID 0.23 against 0.82 (8 s) and IC 0.12 against 0.89 (10 s). Holding all waveforms in memory is as
fast, but takes gigabytes: VoxCeleb1 has 78.
"""
