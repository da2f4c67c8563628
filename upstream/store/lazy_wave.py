"""A waveform that is read only when its samples are needed."""

import functools
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from upstream.store.audio_sources import Source, now


class Audio:
    """What is known of a piece of audio, shared by all views of it.

    ``samples`` is None where nothing was looked up yet; ``wave`` is not to be changed where it is
    ``shared``. ``raw``, once there, is what the reader gave, for a use that was not foreseen.
    """

    __slots__ = ("identity", "key", "raw", "samples", "shared", "source", "wave", "whole")

    def __init__(
        self,
        source: Source,
        identity: bytes | None = None,
        key: bytes | None = None,
        samples: int | None = None,
        wave: np.ndarray | None = None,
    ) -> None:
        self.source, self.identity, self.key, self.wave = source, identity, key, wave
        self.samples, self.shared = samples, False
        self.whole: tuple[bytes, bytes, int] | None = None
        self.raw: Any = None

    @property
    def is_known_file(self) -> bool:
        """Whether it is all that a reader gives, unchanged, of a file that can be told again."""
        return self.identity is not None and self.source.span is None and self.raw is None

    def read(self) -> Any:
        """Return what the reader gives; from now on, it stands for the audio."""
        if self.raw is None:
            raw, _ = self.source.open()
            self.raw = raw if self.source.span is None else raw[..., slice(*self.source.span)]
        return self.raw


class LazyWave:
    """Stands for a tensor (1, N) or (N,), or an array (N,), that a reader returned.

    Squeezing it, cutting it and turning it into an array give another one. Anything else gives the
    samples themselves, and so does everything while no `Reading` is active.
    """

    __slots__ = ("_array", "_audio", "_dtype", "_flat", "_real")

    def __init__(self, audio: Audio, flat: bool, array: bool, dtype: Any = np.float32) -> None:
        self._audio, self._flat, self._array, self._dtype = audio, flat, array, dtype
        self._real: Any = None

    @property
    def audio(self) -> Audio:
        """What is known of it."""
        return self._audio

    def real(self) -> Any:
        """Return the tensor or array it stands for."""
        if self._real is None:
            real = self._audio.read()
            if isinstance(real, torch.Tensor):
                real = real[0] if self._flat and real.ndim == 2 else real
                real = real.numpy() if self._array else real
            self._real = real.astype(self._dtype, copy=False) if self._array else real
        return self._real

    def like(self, audio: Audio | None = None, **changes: Any) -> "LazyWave":
        """Return one of the same form, of other audio or in another form."""
        form = {"flat": self._flat, "array": self._array, "dtype": self._dtype, **changes}
        return LazyWave(audio or self._audio, **form)

    def looked_up(self) -> Any:
        """Return itself, with the number of samples known, where it can stay lazy; else `real`."""
        mode = now.mode
        if mode is None or not mode.looks_up or self._audio.raw is not None:
            return self.real()
        if self._audio.samples is not None:
            return self
        source = self._audio.source
        found, _ = mode.open(source, source.open)
        return self.like(found.audio) if isinstance(found, LazyWave) else self.real()

    def _flattened(self, name: str, *given: Any) -> Any:
        whole = ((0,),) if name == "squeeze" else ((), (-1,)) if name == "flatten" else ((-1,),)
        lengthens = self._flat and name == "squeeze"
        if self._audio.raw is not None or given not in whole or lengthens:
            return getattr(self.real(), name)(*given)
        return self.like(flat=True)

    squeeze = functools.partialmethod(_flattened, "squeeze")
    view = functools.partialmethod(_flattened, "view")
    reshape = functools.partialmethod(_flattened, "reshape")
    flatten = functools.partialmethod(_flattened, "flatten")

    def numpy(self) -> Any:
        """Become an array, as a tensor does."""
        lazy = self.looked_up()
        if not isinstance(lazy, LazyWave) or lazy._array or not lazy._flat:
            return _real(lazy).numpy()
        return lazy.like(array=True)

    def astype(self, dtype: Any, **more: Any) -> Any:
        """Become an array of float32, as an array does."""
        lazy = self.looked_up()
        if not isinstance(lazy, LazyWave) or not lazy._array or more or dtype != np.float32:
            return _real(lazy).astype(dtype, **more)
        return lazy.like(dtype=np.float32)

    def pin_memory(self, *_: Any) -> "LazyWave":
        """Stay: there is nothing to pin."""
        return self

    @property
    def ndim(self) -> int:
        """1 or 2."""
        return 1 if self._flat else 2

    def dim(self) -> int:
        """Return ``ndim``, as a tensor does."""
        return self.ndim

    @property
    def shape(self) -> Any:
        """(1, N) or (N,)."""
        lazy = self.looked_up()
        if not isinstance(lazy, LazyWave):
            return lazy.shape
        samples = lazy.audio.samples or 0
        shape = (samples,) if self._flat else (1, samples)
        return shape if self._array else torch.Size(shape)

    @property
    def size(self) -> Any:
        """The number of samples of an array; of a tensor, what tells its shape."""
        if self._array:
            return self.shape[0]
        return lambda dim=None: self.shape if dim is None else self.shape[dim]

    def __len__(self) -> int:
        return int(self.shape[0])

    def __getitem__(self, index: Any) -> Any:
        lazy = self.looked_up()
        if not isinstance(lazy, LazyWave):
            return lazy[index]
        if not self._flat:
            row = lazy.like(flat=True)
            return row if isinstance(index, int) and index == 0 else lazy.real()[index]
        if not isinstance(index, slice) or index.step not in (None, 1):
            return lazy.real()[index]
        begin, end, _ = index.indices(len(lazy))
        if (begin, end) == (0, len(lazy)):
            return lazy
        if begin >= end or lazy.audio.source.span is not None:
            return lazy.real()[index]
        return lazy.like(now.mode.cut(lazy.audio, begin, end, fixed=index.start is None))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self.real(), name)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.real(), dtype) if copy else np.asarray(self.real(), dtype)

    @classmethod
    def __torch_function__(
        cls, function: Any, types: Any, given: Any = (), named: dict[str, Any] | None = None
    ) -> Any:
        """Let torch's functions work on the samples."""
        return function(*plain(given), **plain(named or {}))


def _real(value: Any) -> Any:
    return value.real() if isinstance(value, LazyWave) else value


def _delegate(name: str) -> Callable[..., Any]:
    def method(self: LazyWave, *given: Any) -> Any:
        function = getattr(operator, name, None)
        if function is not None:
            return function(self.real(), *map(_real, given))
        return getattr(self.real(), name)(*map(_real, given))

    return method


_ARITHMETIC = ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul")
_COMPARISONS = ("eq", "ne", "lt", "le", "gt", "ge")
_OTHERS = ("neg", "pos", "abs", "iter", "setitem", "contains", "bool", "float", "int")
for _name in (*_ARITHMETIC, *(f"r{name}" for name in _ARITHMETIC), *_COMPARISONS, *_OTHERS):
    setattr(LazyWave, f"__{_name}__", _delegate(f"__{_name}__"))
LazyWave.__hash__ = object.__hash__  # type: ignore[method-assign]


def plain(value: Any) -> Any:
    """Return lists, tuples and dicts with the samples in the place of any `LazyWave`."""
    if isinstance(value, LazyWave):
        return value.real()
    if type(value) in (list, tuple) and any(_nested(part) for part in value):
        return type(value)(map(plain, value))
    if type(value) is dict:
        return {key: plain(part) for key, part in value.items()}
    return value


def _nested(value: Any) -> bool:
    return isinstance(value, LazyWave | list | tuple | dict)
