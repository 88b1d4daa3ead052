"""Rules: how Pants gets from targets to images.

From the ground up: `core` runs the core in sandboxes, `flow` has a module for each station of the flow,
`assembly` joins the stations for targets that name each other, `delivery` prepares what leaves.
"""
