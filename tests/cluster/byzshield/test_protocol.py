import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlsys_ray.byzshield.transport import Reply
from mlsys_ray.cluster.byzshield import protocol
from mlsys_ray.cluster.byzshield.protocol import Header, Kind, ProtocolError

HELD = {0: (0, 3), 5: (1,)}


@given(
    st.builds(
        Header,
        kind=st.sampled_from(Kind),
        index=st.integers(0, 65535),
        file=st.integers(0, 2**31 - 1),
        iteration=st.integers(0, 2**31 - 1),
        seconds=st.floats(0, 1e6),
    ),
    st.lists(st.binary(max_size=9), max_size=2),
)
def test_what_is_packed_is_parsed(header, bodies):
    assert protocol.parse([header.pack(), *bodies]) == (header, bodies)


@given(st.lists(st.one_of(st.binary(max_size=60), st.just(Header(Kind.VALUE).pack())), max_size=5))
def test_any_bytes_are_a_message_or_one_error(frames):
    try:
        header, bodies = protocol.parse(frames)
    except ProtocolError:
        return
    assert header.pack() == frames[0]
    assert bodies == frames[1:]


@pytest.mark.parametrize(
    "fields",
    [
        (b"XXXX", 1, Kind.VALUE, 0, 0, 0, 0.0),
        (protocol.MAGIC, 2, Kind.VALUE, 0, 0, 0, 0.0),
        (protocol.MAGIC, 1, 99, 0, 0, 0, 0.0),
        (protocol.MAGIC, 1, Kind.VALUE, 0, -1, 0, 0.0),
        (protocol.MAGIC, 1, Kind.VALUE, 0, 0, -1, 0.0),
        (protocol.MAGIC, 1, Kind.VALUE, 0, 0, 0, -1.0),
        (protocol.MAGIC, 1, Kind.VALUE, 0, 0, 0, float("nan")),
        (protocol.MAGIC, 1, Kind.VALUE, 0, 0, 0, float("inf")),
    ],
)
def test_headers_out_of_range_are_refused(fields):
    with pytest.raises(ProtocolError):
        protocol.parse([struct.pack("<4sBBHiid", *fields)])


def test_digests_travel_and_missing_ones_are_errors():
    replies = {0: Reply({0: b"a" * 32, 3: b"b" * 32}), 5: Reply({}, "error")}
    body = protocol.pack_digests(HELD, replies)
    assert len(body) == protocol.digests_bytes(HELD) == 3 * 33
    assert protocol.unpack_digests(HELD, body) == {
        0: Reply({0: b"a" * 32, 3: b"b" * 32}),
        5: Reply({}, "error"),
    }


@given(st.binary(max_size=120))
def test_digests_of_another_length_are_refused_and_no_bytes_break_the_rest(body):
    if len(body) != protocol.digests_bytes(HELD):
        with pytest.raises(ProtocolError):
            protocol.unpack_digests(HELD, body)
        return
    replies = protocol.unpack_digests(HELD, body)
    assert replies.keys() == HELD.keys()


@given(st.lists(st.tuples(st.integers(0, 99), st.integers(0, 999)), max_size=9))
def test_pairs_travel(pairs):
    assert protocol.unpack_pairs(protocol.pack_pairs(pairs)) == pairs


def test_text_of_workers_is_made_harmless():
    assert protocol.readable(b"\x1b[31mred\n\xff" + b"x" * 500) == "?[31mred??" + "x" * 190


def test_only_the_secret_of_the_process_proves_it_and_only_for_this_nonce():
    secret, nonce = b"s" * 32, b"n" * 32
    proof = protocol.prove(secret, 3, nonce)
    assert protocol.proves(proof, secret, 3, nonce)
    assert not protocol.proves(proof, b"t" * 32, 3, nonce)
    assert not protocol.proves(proof, secret, 4, nonce)
    assert not protocol.proves(proof, secret, 3, b"m" * 32)
    assert not protocol.proves(b"", secret, 3, nonce)
    assert secret not in proof
