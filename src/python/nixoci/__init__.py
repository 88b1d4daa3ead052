"""The core: OCI images of Nix store closures, without layer archives. Standard library only.

Rooms, from the ground up: `store`, `recipe`, `database`, `layering` and `tar`, `processes`,
`compression`, `layer`, `image`, `registry`, `engine` and `report`, `cli`. A room uses those before it, and
the four modules here: `errors`, `json_input`, `json_output`, `atomic`.
"""
