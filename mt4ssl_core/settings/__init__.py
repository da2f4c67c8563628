"""How settings are read and checked: bounds, layers of YAML, overrides, names of other toolkits.

In: YAML files and KEY=VALUE words. Out: a checked `config.Config`, or all problems in one error.
"""
