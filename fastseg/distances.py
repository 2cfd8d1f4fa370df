"""How far pixels are from the clusters of a model: what it does not explain."""

from __future__ import annotations

from typing import Any

from .model import Model


def distance_map(image: Any, model: Model, **options: Any) -> Any:
    """Distance of every pixel of an image to the nearest centre of a model.

    Large distances are outliers: pixels unlike all that the model was fitted to.

    Parameters
    ----------
    image : array_like, DataArray, path or Image
        Image as for `Model.predict`.
    model : Model
        Fitted clusters, such as the result of `segment` on a healthy scan.
    **options
        As for `Model.predict`: mask, nodata, foreground, match, allow_dtype, backend,
        n_threads and callback.

    Returns
    -------
    array of the image's grid, float32
        Euclidean distances, in the library of the image (a DataArray keeps its
        coordinates). They are in image units or in those of the colour space or
        standardized channels that the model was fitted in. NaN where pixels are left
        out.

    Raises
    ------
    ValueError, TypeError
        If the image does not fit the model, or an argument is not as described.
    OSError
        If a file cannot be read.
    """
    if not isinstance(model, Model):
        raise TypeError(
            f"model must be a Model or Segmentation, got {type(model).__name__}; load_model reads"
            " one from a file"
        )
    distances = model.label(image, with_distances=True, **options).distances
    assert distances is not None
    return distances
