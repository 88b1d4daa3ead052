"""Users and groups of an image → the files by which its C library knows them."""

from __future__ import annotations

from dataclasses import dataclass

from nixoci.errors import InvalidInputError
from nixoci.recipe.files import FileEntry
from nixoci.recipe.layer import Owner

# As in `nixoci.cli.main`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Sequence

#: What logs nobody in. Nothing has to be at its place: a shell that is not there refuses as well.
NO_SHELL = "/sbin/nologin"

_NSSWITCH = """\
passwd: files
group: files
shadow: files
hosts: files dns
"""


@dataclass(frozen=True)
class User:
    """:param home: `/` for a user without a home directory of its own."""

    name: str
    uid: int
    gid: int
    home: str = "/"
    shell: str = NO_SHELL


@dataclass(frozen=True)
class Group:
    """:param name: as in `/etc/group`."""

    name: str
    gid: int


ROOT_USER = User("root", 0, 0, "/root", "/bin/sh")
ROOT_GROUP = Group("root", 0)


@dataclass(frozen=True)
class Accounts:
    """The users and groups of an image, root among them.

    :raises InvalidInputError: two users, or two groups, have a name in common or a number.
    """

    users: tuple[User, ...]
    groups: tuple[Group, ...]

    @classmethod
    def create(cls, users: Sequence[User], groups: Sequence[Group]) -> Accounts:
        """Returns the accounts with those that nobody names: root, and a group for each user."""
        # Who names root says what its home and shell are.
        root = [user for user in users if (user.name, user.uid) == (ROOT_USER.name, 0)]
        all_users = tuple(dict.fromkeys((*(root or [ROOT_USER]), *users)))
        named = {ROOT_GROUP.gid: ROOT_GROUP, **{group.gid: group for group in groups}}
        own: dict[int, Group] = {}
        # A group that several users have is called after the one with its number, or else the first.
        for user in sorted(all_users, key=lambda user: user.uid != user.gid):
            if user.gid not in named:
                own.setdefault(user.gid, Group(user.name, user.gid))
        every = dict.fromkeys((ROOT_GROUP, *groups, *own.values()))
        _require_different("user", [(user.name, user.uid) for user in all_users])
        _require_different("group", [(group.name, group.gid) for group in every])
        return cls(all_users, tuple(every))

    def owner(self, text: str) -> Owner:
        """Returns the owner that `user`, `uid`, `user:group` or `uid:gid` stands for.

        A user without a group has the user's own; a number that no user has, the group of that number.

        :raises InvalidInputError: a name that there is not, or a number out of range.
        """
        user_text, colon, group_text = text.partition(":")
        users = {user.name: user for user in self.users}
        users.update((str(user.uid), user) for user in self.users)
        groups = {group.name: group.gid for group in self.groups}
        # 007 is 7, as for `chown`.
        user = users.get(str(int(user_text)) if _is_number(user_text) else user_text)
        if user is None and not _is_number(user_text):
            raise InvalidInputError("owner", text, f"there is no user {user_text!r}")
        uid = user.uid if user else int(user_text)
        if not colon:
            return owner_of(uid, user.gid if user else uid)
        if group_text not in groups and not _is_number(group_text):
            raise InvalidInputError("owner", text, f"there is no group {group_text!r}")
        return owner_of(uid, groups[group_text] if group_text in groups else int(group_text))

    def files(self) -> tuple[FileEntry, ...]:
        """Returns `/etc/passwd` and its like, and the home directories."""
        passwd = "".join(
            f"{u.name}:x:{u.uid}:{u.gid}:{u.name}:{u.home}:{u.shell}\n" for u in self.users
        )
        group = "".join(f"{g.name}:x:{g.gid}:\n" for g in self.groups)
        # The last change was a day after the epoch; 0 would ask for a new password.
        shadow = "".join(f"{u.name}:!:1::::::\n" for u in self.users)
        return (
            FileEntry("/etc/passwd", 0o644, text=passwd),
            FileEntry("/etc/group", 0o644, text=group),
            FileEntry("/etc/shadow", 0o600, text=shadow),
            FileEntry("/etc/nsswitch.conf", 0o644, text=_NSSWITCH),
            # Who lets users share a home says elsewhere what it is like.
            *{home.path: home for _, home in reversed(self.homes())}.values(),
        )

    def homes(self) -> tuple[tuple[User, FileEntry], ...]:
        """Returns the users that have a home directory, with it."""
        return tuple(
            (user, FileEntry(user.home, 0o700, owner_of(user.uid, user.gid)))
            for user in self.users
            if user.home != "/"
        )


def owner_of(uid: int, gid: int) -> Owner:
    """Returns an owner in the tar: only root has a name there, other numbers mean themselves."""
    return Owner(uid, gid, "" if uid else "root", "" if gid else "root")


def _is_number(text: str) -> bool:
    # Python refuses to read a number of thousands of digits.
    return text.isascii() and text.isdigit() and len(text) < 100 and int(text) < 8**7


def _require_different(what: str, found: Sequence[tuple[str, int]]) -> None:
    for position in (0, 1):
        values = [pair[position] for pair in found]
        for value in values:
            if values.count(value) > 1:
                raise InvalidInputError(f"{what}s", value, f"two different {what}s have it")
