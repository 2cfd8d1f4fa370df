"""From file to file in pieces, in bounded memory.

`options` opens the files, `reading` reads their regions ahead in threads, `counting` sums them up,
`fit` finds clusters of the sums, and `labels` writes in one more pass. `segment` and `predict`
are what people call.
"""
