"""Centroids, what they are centroids of, and their file."""

from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from mt4ssl_core.checkpoints import tensor_files
from mt4ssl_core.files import user_path
from mt4ssl_core.labelling.lloyd import nearest

FORMAT, VERSION = "mt4ssl-kmeans", "2"  # 1 had no checksum


@dataclass
class KMeans:
    """Centroids and what they are centroids of."""

    centroids: Tensor  # (K, D) float32
    features: str = "mfcc"  # "mfcc", "ckpt:PATH:LAYER" or "callable"
    meta: dict[str, str] = field(default_factory=dict)  # how it was fitted; kept in the file

    def apply(self, features: Tensor) -> Tensor:
        """Return the nearest centroid of every frame: (T, D) -> (T,) int64, on the same device."""
        if features.dim() != 2 or features.shape[1] != self.centroids.shape[1]:
            raise ValueError(
                f"features of shape {tuple(features.shape)}, but this k-means of {self.features} "
                f"has {self.centroids.shape[1]} dimensions; use the features of the fit"
            )
        centroids = self.centroids.to(features.device)
        return nearest(features.float(), centroids)

    def save(self, path: str | Path) -> None:
        """Write a safetensors file with the metadata, atomically."""
        meta = {"format": FORMAT, "version": VERSION, "features": self.features, **self.meta}
        tensor_files.save(path, {"centroids": self.centroids}, meta)

    @classmethod
    def load(cls, path: str | Path) -> "KMeans":
        """Read what :meth:`save` wrote. ValueError: another file; FileNotFoundError: none."""
        remedy = "make one with `mt4ssl kmeans fit`"
        file = user_path(path)
        if not file.is_file():
            raise FileNotFoundError(f"{path}: no such k-means file; {remedy}")
        tensors, meta, checked = tensor_files.load(file, remedy)
        centroids = tensors.get("centroids")
        if meta.pop("format", "") != FORMAT or centroids is None:
            raise ValueError(f"{path}: a safetensors file, but not a k-means; {remedy}")
        if (version := meta.pop("version", "")) not in ("1", VERSION):
            raise ValueError(f"{path}: k-means format {version!r}, expected {VERSION!r}; {remedy}")
        if version == VERSION and not checked:
            raise ValueError(f"{path}: damaged (it has lost its checksum); {remedy}")
        usable = centroids.dim() == 2 and centroids.numel() and centroids.is_floating_point()
        if not usable or not bool(centroids.isfinite().all()):
            raise ValueError(
                f"{path}: centroids of shape {list(centroids.shape)} and {centroids.dtype} are not "
                f"(K, D) finite numbers; {remedy}"
            )
        return cls(centroids.float(), meta.pop("features", "mfcc"), meta)
