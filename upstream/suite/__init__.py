"""All SUPERB tasks of one checkpoint: `mt4ssl superb prepare|run|doctor|submit`."""
