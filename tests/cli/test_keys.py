"""`trackd keys new`."""

import pytest
import zmq.auth

from tracker.cli.main import main


def test_new_keys_are_two_files_that_any_zeromq_program_reads(tmp_path, capsys):
    folder = tmp_path / "keys"
    assert main(["keys", "new", "viewer", "--out", str(folder)]) == 0
    printed = capsys.readouterr().out
    public, nothing = zmq.auth.load_certificate(folder / "viewer.key")
    same_public, secret = zmq.auth.load_certificate(folder / "viewer.key_secret")
    assert nothing is None
    assert public == same_public
    assert zmq.curve_public(secret) == public
    assert str(folder / "viewer.key_secret") in printed
    assert secret.decode() not in printed


@pytest.mark.parametrize("there", ["viewer.key", "viewer.key_secret"])
def test_keys_that_are_there_stay(tmp_path, capsys, there):
    (tmp_path / there).write_text("precious")
    assert main(["keys", "new", "viewer", "--out", str(tmp_path)]) == 2
    assert f"{there} exists" in capsys.readouterr().err
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(there, "precious")]


@pytest.mark.parametrize("name", ["../viewer", "", ".hidden", "a/b", "a b", "x" * 65])
def test_a_name_that_is_no_file_name_is_refused(tmp_path, capsys, name):
    assert main(["keys", "new", name, "--out", str(tmp_path / "keys")]) == 2
    assert "cannot name keys" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["keys", "new", "viewer", "--out", str(tmp_path / "file" / "keys")]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "cannot write keys to" in line


def public_keys(folder):
    return {
        str(path.relative_to(folder)): zmq.auth.load_certificate(path)
        for path in folder.rglob("*.key")
    }


def test_a_client_is_let_in_with_one_role_at_a_time(tmp_path, capsys):
    assert main(["keys", "new", "viewer", "--out", str(tmp_path)]) == 0
    public, _ = zmq.auth.load_certificate(tmp_path / "viewer.key")
    clients = tmp_path / "clients"
    allow = ["keys", "allow", str(tmp_path / "viewer.key"), "--in", str(clients)]
    assert main(allow) == 0
    assert public_keys(clients) == {"watch/viewer.key": (public, None)}
    assert main([*allow, "--role", "admin"]) == 0
    assert public_keys(clients) == {"admin/viewer.key": (public, None)}
    assert "viewer has the role admin" in capsys.readouterr().out


def test_no_secret_gets_into_the_folder_of_clients(tmp_path):
    assert main(["keys", "new", "viewer", "--out", str(tmp_path)]) == 0
    _, secret = zmq.auth.load_certificate(tmp_path / "viewer.key_secret")
    clients = tmp_path / "clients"
    assert main(["keys", "allow", str(tmp_path / "viewer.key_secret"), "--in", str(clients)]) == 0
    (path,) = clients.rglob("*.key")
    assert secret not in path.read_bytes()


@pytest.mark.parametrize("content", [None, "hello"])
def test_what_is_no_key_lets_nobody_in(tmp_path, capsys, content):
    path = tmp_path / "viewer.key"
    if content is not None:
        path.write_text(content)
    assert main(["keys", "allow", str(path), "--in", str(tmp_path / "clients")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "viewer.key" in line
    assert not (tmp_path / "clients").exists()
