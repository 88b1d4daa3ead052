"""Tests of `nixoci.recipe.accounts`."""

from __future__ import annotations

import pytest
from nixoci.errors import InvalidInputError
from nixoci.recipe.accounts import Accounts, Group, User
from nixoci.recipe.files import FileEntry
from nixoci.recipe.layer import Owner

APP = User("app", 1000, 1000, "/home/app", "/bin/sh")
DAEMON = User("daemon", 2, 50)
ACCOUNTS = Accounts.create([APP, DAEMON], [Group("staff", 50)])


def text(path: str, accounts: Accounts = ACCOUNTS) -> list[list[str]]:
    """The fields of each line of a file."""
    (entry,) = (entry for entry in accounts.files() if entry.path == path)
    return [line.split(":") for line in (entry.text or "").splitlines()]


def test_passwd_has_root_and_the_users() -> None:
    """In the form of passwd(5); who has no shell of its own cannot log in."""
    assert text("/etc/passwd") == [
        ["root", "x", "0", "0", "root", "/root", "/bin/sh"],
        ["app", "x", "1000", "1000", "app", "/home/app", "/bin/sh"],
        ["daemon", "x", "2", "50", "daemon", "/", "/sbin/nologin"],
    ]


def test_group_has_a_group_for_each_number() -> None:
    """In the form of group(5); one that is given is not made again."""
    assert text("/etc/group") == [
        ["root", "x", "0", ""],
        ["staff", "x", "50", ""],
        ["app", "x", "1000", ""],
    ]


def test_nobody_has_a_password() -> None:
    """In the form of shadow(5): nine fields, and no password fits `!`."""
    lines = text("/etc/shadow")
    assert [line[:2] for line in lines] == [["root", "!"], ["app", "!"], ["daemon", "!"]]
    assert all(len(line) == 9 for line in lines)


def test_modes_and_homes() -> None:
    """Only root reads shadow; a home directory is its user's alone; `/` is nobody's home."""
    entries = {entry.path: entry for entry in ACCOUNTS.files()}
    assert entries["/etc/shadow"].mode == 0o600
    assert entries["/etc/passwd"].mode == entries["/etc/group"].mode == 0o644
    assert entries["/home/app"] == FileEntry("/home/app", 0o700, Owner(1000, 1000, "", ""))
    assert entries["/root"] == FileEntry("/root", 0o700)
    assert "/" not in entries


@pytest.mark.parametrize(
    "owner, numbers",
    [
        ("app", (1000, 1000)),
        ("daemon", (2, 50)),
        ("1000", (1000, 1000)),
        ("2", (2, 50)),
        ("7", (7, 7)),
        ("7:8", (7, 8)),
        ("app:staff", (1000, 50)),
        ("app:0", (1000, 0)),
        ("root", (0, 0)),
        ("0:50", (0, 50)),
    ],
)
def test_owners(owner: str, numbers: tuple[int, int]) -> None:
    """Names and numbers mean what `chown` makes of them; a user alone brings its group."""
    found = ACCOUNTS.owner(owner)
    assert (found.uid, found.gid) == numbers
    # A number means itself, whatever users the machine has that unpacks the layer.
    assert (found.uname, found.gname) == tuple("" if number else "root" for number in numbers)


@pytest.mark.parametrize("owner", ["nobody", "app:wheel", "-1", "2097152", "7:", ":7", "½", "app:app:app"])
def test_owners_that_there_are_not(owner: str) -> None:
    with pytest.raises(InvalidInputError, match="owner"):
        ACCOUNTS.owner(owner)


@pytest.mark.parametrize(
    "users, groups, what",
    [
        ([APP, User("app", 7, 7)], [], "users 'app'"),
        ([APP, User("other", 1000, 7)], [], "users 1000"),
        ([User("toor", 0, 0)], [], "users 0"),
        ([], [Group("a", 1), Group("a", 2)], "groups 'a'"),
        ([], [Group("a", 1), Group("b", 1)], "groups 1"),
        ([APP], [Group("app", 7)], "groups 'app'"),
    ],
)
def test_contradictions(users: list[User], groups: list[Group], what: str) -> None:
    """Two users, or two groups, with one name or number."""
    with pytest.raises(InvalidInputError, match=what):
        Accounts.create(users, groups)


def test_root_can_have_another_home_and_shell() -> None:
    root = User("root", 0, 0, "/var/root", "/bin/bash")
    accounts = Accounts.create([APP, root], [])
    assert [user.name for user in accounts.users] == ["root", "app"]
    assert text("/etc/passwd", accounts)[0][5:] == ["/var/root", "/bin/bash"]


def test_the_same_twice_is_one() -> None:
    """Two layer targets may name the same user."""
    assert Accounts.create([APP, APP], [Group("a", 1)] * 2) == Accounts.create([APP], [Group("a", 1)])
