"""The fields that say how layers came to be, for the history in the image config."""

from __future__ import annotations

from pants.engine.target import StringField


class NixCreatedByField(StringField):
    alias = "created_by"
    help = "What made the layer, for the history in the image config. By default what is in it."


class NixAuthorField(StringField):
    alias = "author"
    help = "Name and address of who is responsible, for the history in the image config."


class NixCommentField(StringField):
    alias = "comment"
    help = "A comment, for the history in the image config."
