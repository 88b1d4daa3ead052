"""What publishing and running need: names, registries, a verified image, a command with its files.

In: the address of an image. Out: `ImageReferences`, `VerifiedImage`, `Foreground`. Uses `rules.assembly`.
"""
