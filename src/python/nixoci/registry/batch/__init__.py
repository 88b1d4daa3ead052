"""Pushes whose tags are written together: by the last one, when every image is in its repositories.

In: how far each push of a batch is, as files in a directory. Out: tags, or an error that names what is missing. Uses
the rooms beside it of `registry`, but for `push`.
"""
