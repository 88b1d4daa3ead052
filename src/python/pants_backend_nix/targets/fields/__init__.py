"""The fields of the targets, one module for each thing that they speak of.

In: values in BUILD files. Out: checked values, in the words of the core. Uses `options`.
"""
