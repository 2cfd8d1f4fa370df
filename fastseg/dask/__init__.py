"""Dask arrays, lazily, and Zarr to Zarr on a cluster: only summaries and sums reach the client.

`cluster` is all that is asked of Dask. `images` cuts arrays into chunks for the workers,
`counting` is the map-reduce of their summaries; where pixels hardly repeat `survey` draws and
measures, and `points` runs Lloyd's iterations over the `pieces` that workers hold. `fit` puts
these together for `segment` (arrays), `rows` (estimators) and `files` (Zarr).
"""
