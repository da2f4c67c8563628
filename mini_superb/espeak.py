"""Speech from espeak-ng through ctypes, repeatable to the last sample.

The library keeps noise, phase and intonation state between calls, and no call resets it: what a
sentence sounds like depends on all that the process has said before. So the process that loads the
library never speaks. It forks a child for every session - the sentences of one person, in their
order - and each child starts from the same untouched state: what a session sounds like depends on
nothing but itself. (A child per sentence would do too, and take most of the time for forking.)
Threads are no way out: the library crashes in two of them at once.
"""

import ctypes
import functools
import json
import os
import traceback
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np

REMEDY = 'install the synthesiser with: pip install "mt4ssl[corpus]"'

# Constants of espeak-ng's speak_lib.h, by their meaning there.
_SYNCHRONOUS = 2
_PHONEME_EVENTS, _IPA, _DONT_EXIT = 0x0001, 0x0002, 0x8000
_RATE, _VOLUME, _PITCH, _RANGE = 1, 2, 3, 4
_UTF8, _CHARACTERS = 1, 1
_HEADROOM = 40  # volume in per cent; the loud variants clip at 100
_EVENT_END_OF_LIST, _EVENT_PHONEME = 0, 7


class Phone(NamedTuple):
    """Where a phone starts (seconds; a stop starts at its burst) and its IPA symbol."""

    start: float
    symbol: str


class Spoken(NamedTuple):
    """Mono samples (int16) at ``rate`` Hz and the phones in them."""

    samples: np.ndarray  # (N,)
    rate: int
    phones: list[Phone]


class _EventId(ctypes.Union):
    _fields_ = [
        ("number", ctypes.c_int),
        ("name", ctypes.c_char_p),
        ("string", ctypes.c_char * 8),
    ]


class _Event(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _EventId),
    ]


_Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
)


def _loader() -> Any:
    try:
        import espeakng_loader
    except ImportError as error:
        raise ValueError(f"cannot synthesise speech: {error}; {REMEDY}") from error
    return espeakng_loader


@functools.cache
def variants() -> frozenset[str]:
    """Names of the installed voice variants; the library takes an unknown one without a word.

    Raises ValueError when espeakng-loader is missing.
    """
    return frozenset(os.listdir(Path(_loader().get_data_path()) / "voices" / "!v"))


class Espeak:
    """The synthesiser: loaded in one process, speaking in the children of it."""

    def __init__(self) -> None:
        """Load the library; ValueError when espeakng-loader is missing or does not start."""
        loader = _loader()
        self._owner = os.getpid()
        try:
            self._lib = ctypes.CDLL(loader.get_library_path())
        except OSError as error:
            raise ValueError(f"cannot load espeak-ng: {error}; {REMEDY}") from error
        options = _PHONEME_EVENTS | _IPA | _DONT_EXIT
        data = os.fsencode(loader.get_data_path())
        self.rate = int(self._lib.espeak_Initialize(_SYNCHRONOUS, 0, data, options))
        if self.rate <= 0:
            raise ValueError(f"espeak-ng does not start with the data in {data!r}; {REMEDY}")
        self._lib.espeak_Synth.argtypes = [
            ctypes.c_char_p,
            ctypes.c_size_t,
            ctypes.c_uint,
            ctypes.c_int,
            ctypes.c_uint,
            ctypes.c_uint,
            ctypes.c_void_p,
            ctypes.c_void_p,
        ]
        self._chunks: list[bytes] = []
        self._phones: list[Phone] = []
        self._callback = _Callback(self._receive)  # the library holds only a pointer to it
        self._lib.espeak_SetSynthCallback(self._callback)
        self._lib.espeak_SetVoiceByName(b"en-us")  # reads the dictionary once, for all children

    def version(self) -> str:
        """Version of the library, such as ``1.52.0``."""
        self._lib.espeak_Info.restype = ctypes.c_char_p
        return self._lib.espeak_Info(None).decode().split()[0]

    def _receive(self, samples: Any, count: int, events: Any) -> int:
        if samples and count > 0:
            self._chunks.append(ctypes.string_at(samples, 2 * count))
        index = 0
        while events[index].type != _EVENT_END_OF_LIST:
            if events[index].type == _EVENT_PHONEME:
                symbol = events[index].id.string.decode("utf-8", "replace")
                self._phones.append(Phone(events[index].sample / self.rate, symbol))
            index += 1
        return 0

    def say(self, text: str, voice: str, rate: int, pitch: int, pitch_range: int) -> Spoken:
        """Speak ``text``: rate in words/min (80-450), pitch and range 0-99; only in a child.

        Raises ValueError for an unknown voice.
        """
        assert os.getpid() != self._owner, "speak inside in_child(): see the top of the file"
        _, _, variant = voice.partition("+")
        if variant and variant not in variants():
            raise ValueError(
                f"espeak-ng has no variant {variant!r}; choose from {sorted(variants())}"
            )
        if self._lib.espeak_SetVoiceByName(voice.encode()) != 0:
            raise ValueError(f"espeak-ng has no voice {voice!r}; `en-us` and `gmw/en` exist")
        settings = {_RATE: rate, _PITCH: pitch, _RANGE: pitch_range, _VOLUME: _HEADROOM}
        for parameter, value in settings.items():
            self._lib.espeak_SetParameter(parameter, value, 0)
        self._lib.espeak_ng_SetRandSeed(ctypes.c_long(0))  # it starts from the clock
        self._chunks, self._phones = [], []
        data = text.encode() + b"\0"
        code = self._lib.espeak_Synth(data, len(data), 0, _CHARACTERS, 0, _UTF8, None, None)
        assert code == 0, f"espeak_Synth({text!r}) returned {code}"
        self._lib.espeak_Synchronize()
        return Spoken(np.frombuffer(b"".join(self._chunks), np.int16), self.rate, self._phones)


def in_child(work: Callable[[], Iterable[Any]]) -> Iterator[Any]:
    """Run ``work()`` in a forked child and yield its JSON-able items as they come.

    The child's ValueError or OSError comes back as ValueError, anything else as RuntimeError.
    """
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read_end)
        _send(write_end, work)
    os.close(write_end)
    last: dict[str, Any] = {}
    try:
        with os.fdopen(read_end) as pipe:
            for last in map(json.loads, pipe):
                if "item" in last:
                    yield last["item"]
    finally:
        os.waitpid(child, 0)
    if "error" in last:
        raise ValueError(last["error"])
    if "end" not in last:
        raise RuntimeError(f"the synthesis process failed:\n{last.get('crash', 'without a word')}")


def _send(pipe_end: int, work: Callable[[], Iterable[Any]]) -> NoReturn:
    try:
        with os.fdopen(pipe_end, "w", buffering=1) as pipe:
            try:
                for item in work():
                    pipe.write(json.dumps({"item": item}) + "\n")
                last = {"end": ""}
            except (ValueError, OSError) as error:
                last = {"error": str(error)}
            except BaseException:
                last = {"crash": traceback.format_exc()}
            pipe.write(json.dumps(last) + "\n")
    finally:
        os._exit(0)  # no exit handlers, no flushing of the parent's buffers
