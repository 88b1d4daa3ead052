"""Running the core in sandboxes, here or on workers, so that all machines share the results.

In: a command with its input files (`CoreRun`), the packages that it may have to realise (`StoreStep`).
Out: what it wrote, or an error in the words of targets. Uses `targets`.
"""
