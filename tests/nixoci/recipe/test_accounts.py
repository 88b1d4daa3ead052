"""Tests of `nixoci.recipe.accounts`."""

from __future__ import annotations

import ctypes
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
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
        ("root:staff", (0, 50)),
        ("007", (7, 7)),
        ("0002", (2, 50)),
        ("2097151:2097151", (2097151, 2097151)),
    ],
)
def test_owners(owner: str, numbers: tuple[int, int]) -> None:
    """Names and numbers mean what `chown` makes of them; a user alone brings its group."""
    found = ACCOUNTS.owner(owner)
    assert (found.uid, found.gid) == numbers
    # A number means itself, whatever users the machine has that unpacks the layer.
    assert (found.uname, found.gname) == tuple("" if number else "root" for number in numbers)


@pytest.mark.parametrize("owner", [
        *("nobody", "app:wheel", "-1", "2097152", "7:", ":7", "½", "app:app:app", "", ":", "+7", " 7"),
        *("7:2097152", "7:-1", "app:", "٣", "²", "0x7", "9" * 5000, "7:" + "9" * 5000, "App"),
    ],
)
def test_owners_that_there_are_not(owner: str) -> None:
    with pytest.raises(InvalidInputError, match="owner"):
        ACCOUNTS.owner(owner)


@pytest.mark.parametrize(
    "users, groups, what",
    [
        ([APP, User("app", 7, 7)], [], "users 'app'"),
        ([APP, User("other", 1000, 7)], [], "users 1000"),
        ([User("toor", 0, 0)], [], "users 0"),
        ([User("root", 7, 7)], [], "users 'root'"),
        ([User("root", 0, 0, "/a"), User("root", 0, 0, "/b")], [], "users 'root'"),
        ([], [Group("wheel", 0)], "groups 0"),
        ([], [Group("root", 7)], "groups 'root'"),
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


@pytest.mark.parametrize(
    "users", itertools.permutations([APP, User("worker", 1001, 1000), User("x", 7, 1000)])
)
def test_a_shared_group_has_the_name_of_the_user_with_its_number(users: tuple[User, ...]) -> None:
    """Whatever their order: `app:app` means what it means without the others."""
    accounts = Accounts.create(users, [])
    assert [group for group in accounts.groups if group.gid == 1000] == [Group("app", 1000)]
    assert accounts.owner("app:app") == ACCOUNTS.owner("app")


def test_a_group_that_no_user_has_the_number_of_is_called_after_the_first() -> None:
    accounts = Accounts.create([User("a", 1, 50), User("b", 2, 50)], [])
    assert accounts.groups == (Group("root", 0), Group("a", 50))


def test_a_user_may_have_roots_group() -> None:
    """No other group has the number 0."""
    accounts = Accounts.create([User("app", 1000, 0)], [])
    assert accounts.groups == (Group("root", 0),)
    assert (accounts.owner("app").uid, accounts.owner("app").gid) == (1000, 0)


def test_a_home_of_several_users_is_there_once() -> None:
    """What it is like is for `directories` to say; `homes` has it for each of them."""
    accounts = Accounts.create([User(name, uid, uid, "/srv") for uid, name in enumerate("abc", 5)], [])
    assert [e.path for e in accounts.files() if e.path == "/srv"] == ["/srv"]
    assert [user.name for user, home in accounts.homes() if home.path == "/srv"] == ["a", "b", "c"]


def names_by_c(function: str, content: str) -> list[str]:
    """Returns the names that a function of the C library reads, which all of its structures begin with."""
    library = ctypes.CDLL(None)
    library.fmemopen.restype = getattr(library, function).restype = ctypes.c_void_p
    data = content.encode()
    stream = ctypes.c_void_p(library.fmemopen(data, ctypes.c_size_t(len(data)), b"r"))
    names = []
    while True:
        found = getattr(library, function)(stream)
        if not found:
            library.fclose(stream)
            return names
        names.append(ctypes.cast(found, ctypes.POINTER(ctypes.c_char_p))[0].decode())


NAMES = st.text("ab_-9", min_size=1, max_size=3)
IDS = st.integers(0, 4)
HOMES = st.sampled_from(["/", "/home/a", "/home/b"])


@given(
    st.lists(st.builds(User, NAMES, IDS, IDS, HOMES), max_size=4),
    st.lists(st.builds(Group, NAMES, IDS), max_size=3),
)
def test_every_number_has_one_name(users: list[User], groups: list[Group]) -> None:
    """The files name each user and group once, by name and number, and each user's group is there."""
    try:
        accounts = Accounts.create(users, groups)
    except InvalidInputError:
        return
    passwd, group = text("/etc/passwd", accounts), text("/etc/group", accounts)
    for lines in (passwd, group):
        for column in (0, 2):
            values = [line[column] for line in lines]
            assert len(values) == len(set(values))
    assert {line[3] for line in passwd} <= {line[2] for line in group}
    assert {line[0] for line in passwd} == {line[0] for line in text("/etc/shadow", accounts)}
    assert {line[0] for line in passwd} == {"root"} | {user.name for user in users}
    assert {line[0] for line in group} >= {group.name for group in groups}
    for user in accounts.users:
        assert accounts.owner(user.name) == accounts.owner(f"{user.uid}")
        assert accounts.owner(f"{user.name}:{user.gid}") == accounts.owner(user.name)
    paths = [entry.path for entry in accounts.files()]
    assert len(paths) == len(set(paths))


def test_the_c_library_reads_them() -> None:
    """Each line of passwd, group and shadow is an entry for it, with the same name."""
    for name, function in (("passwd", "fgetpwent"), ("group", "fgetgrent"), ("shadow", "fgetspent")):
        lines = text(f"/etc/{name}")
        assert names_by_c(function, "\n".join(map(":".join, lines)) + "\n") == [line[0] for line in lines]
