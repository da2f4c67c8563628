"""What runs leave behind, read as typed records.

In: results.jsonl, log.jsonl, heads, published scores; all of them may be damaged. Out: records,
or an error that names the file.
"""
