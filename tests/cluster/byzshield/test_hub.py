"""The server's socket among peers that are not what they should be."""

import random
import time
from contextlib import closing

import pytest
import zmq

from mlsys_ray.cluster.byzshield import protocol
from mlsys_ray.cluster.byzshield.contact import Contact
from mlsys_ray.cluster.byzshield.hub import Hub, Message
from mlsys_ray.cluster.byzshield.protocol import Header, Kind

LONGEST = 10_000


@pytest.fixture(params=[False, True], ids=["plain", "encrypted"])
def hub(request):
    with closing(Hub("127.0.0.1", LONGEST, encrypt=request.param)) as hub:
        yield hub


@pytest.fixture
def plain_hub():
    with closing(Hub("127.0.0.1", LONGEST)) as hub:
        yield hub


@pytest.fixture
def connect():
    context = zmq.Context()

    def make(contact, server_key=None, keys=None):
        socket = context.socket(zmq.DEALER)
        socket.linger = 0
        if contact.server_key:
            socket.curve_serverkey = server_key or contact.server_key
            socket.curve_publickey, socket.curve_secretkey = keys or contact.keys
        socket.connect(contact.endpoint)
        return socket

    yield make
    context.destroy(linger=0)


def hear(hub, seconds=0.3):
    heard, end = [], time.monotonic() + seconds
    while time.monotonic() < end:
        heard += hub.receive(0.05)
    return heard


def say(socket, header, *bodies):
    socket.send_multipart([header.pack(), *bodies])


def challenge(hub, socket, process):
    say(socket, Header(Kind.HELLO, process))
    assert hear(hub) == []
    if not socket.poll(500):
        return None
    header, (nonce,) = protocol.parse(socket.recv_multipart())
    assert header.kind is Kind.CHALLENGE
    return nonce


def prove(hub, socket, contact):
    nonce = challenge(hub, socket, contact.process)
    proof = protocol.prove(contact.secret, contact.process, nonce)
    say(socket, Header(Kind.PROOF, contact.process), proof)
    return hear(hub)


def test_a_process_that_proves_itself_is_heard_and_spoken_to(hub, connect):
    contact = hub.invite(4)
    socket = connect(contact)
    assert prove(hub, socket, contact) == [4]
    assert hub.connected == {4}
    say(socket, Header(Kind.VALUE, 7, 8, 9), b"gradient")
    assert hear(hub) == [Message(4, Header(Kind.VALUE, 7, 8, 9), [b"gradient"])]
    assert hub.send(4, Header(Kind.STOP))
    assert socket.poll(500)
    assert not hub.send(5, Header(Kind.STOP))


def test_nothing_is_heard_from_who_has_not_proved_itself(hub, connect):
    contact = hub.invite(4)
    socket = connect(contact)
    for kind in Kind:
        say(socket, Header(kind, 4), b"x" * 32)
    assert hear(hub) == []
    assert hub.connected == set()


def test_an_impostor_without_the_secret_is_refused(plain_hub, connect):
    contact = plain_hub.invite(4)
    impostor = Contact(contact.endpoint, 4, b"?" * 32)
    assert prove(plain_hub, connect(impostor), impostor) == []
    other = plain_hub.invite(5)
    posing = Contact(contact.endpoint, 4, other.secret)
    assert prove(plain_hub, connect(posing), posing) == []
    assert plain_hub.connected == set()


def test_a_proof_that_was_overheard_is_worth_nothing(plain_hub, connect):
    contact = plain_hub.invite(4)
    first = connect(contact)
    nonce = challenge(plain_hub, first, 4)
    proof = protocol.prove(contact.secret, 4, nonce)
    say(first, Header(Kind.PROOF, 4), proof)
    assert hear(plain_hub) == [4]
    second = connect(contact)
    assert challenge(plain_hub, second, 4) != nonce
    say(second, Header(Kind.PROOF, 4), proof)
    assert hear(plain_hub) == []
    say(first, Header(Kind.VALUE))
    assert len(hear(plain_hub)) == 1


def test_a_challenge_can_be_answered_once(plain_hub, connect):
    contact = plain_hub.invite(4)
    socket = connect(contact)
    nonce = challenge(plain_hub, socket, 4)
    say(socket, Header(Kind.PROOF, 4), b"wrong")
    say(socket, Header(Kind.PROOF, 4), protocol.prove(contact.secret, 4, nonce))
    assert hear(plain_hub) == []


def test_a_new_connection_replaces_the_old_one_and_a_new_invitation_voids_both(hub, connect):
    contact = hub.invite(4)
    old, new = connect(contact), connect(contact)
    assert prove(hub, old, contact) == [4]
    assert prove(hub, new, contact) == [4]
    say(old, Header(Kind.VALUE))
    assert hear(hub) == []
    again = hub.invite(4)
    say(new, Header(Kind.VALUE))
    assert hear(hub) == []
    assert hub.connected == set()
    newest = connect(again)
    assert prove(hub, newest, again) == [4]


def test_a_process_the_server_does_not_know_is_not_challenged(plain_hub, connect):
    contact = plain_hub.invite(4)
    assert challenge(plain_hub, connect(contact), 77) is None


def test_random_bytes_are_dropped_and_others_are_still_heard(plain_hub, connect):
    contact = plain_hub.invite(4)
    honest, noisy = connect(contact), connect(contact)
    assert prove(plain_hub, honest, contact) == [4]
    generator = random.Random(0)
    for _ in range(500):
        frames = [generator.randbytes(generator.randrange(60)) for _ in range(3)]
        noisy.send_multipart(frames)
    say(honest, Header(Kind.VALUE, 1))
    assert hear(plain_hub, 1.0) == [Message(4, Header(Kind.VALUE, 1), [])]


def test_a_peer_that_sends_too_much_is_cut_off_and_others_are_still_heard(plain_hub, connect):
    contact, other = plain_hub.invite(4), plain_hub.invite(5)
    greedy, honest = connect(contact), connect(other)
    assert prove(plain_hub, greedy, contact) == [4]
    assert prove(plain_hub, honest, other) == [5]
    say(greedy, Header(Kind.VALUE), bytes(10 * LONGEST))
    say(honest, Header(Kind.VALUE))
    assert [message.process for message in hear(plain_hub)] == [5]
    assert not plain_hub.send(4, Header(Kind.STOP))


def test_a_peer_that_does_not_read_does_not_fill_the_memory(plain_hub, connect):
    contact = plain_hub.invite(4)
    socket = connect(contact)
    assert prove(plain_hub, socket, contact) == [4]
    model = bytes(20_000_000)
    sent = [plain_hub.send(4, Header(Kind.COMPUTE), model) for _ in range(40)]
    assert not all(sent)


def test_without_the_right_keys_there_is_no_connection(connect):
    with closing(Hub("127.0.0.1", LONGEST, encrypt=True)) as hub:
        contact = hub.invite(4)
        stranger = connect(contact, keys=zmq.curve_keypair())
        assert challenge(hub, stranger, 4) is None
        deceived = connect(contact, server_key=zmq.curve_keypair()[0])
        assert challenge(hub, deceived, 4) is None
        in_clear = connect(Contact(contact.endpoint, 4, contact.secret))
        assert challenge(hub, in_clear, 4) is None
        assert prove(hub, connect(contact), contact) == [4]
