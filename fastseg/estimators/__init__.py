"""Estimators for rows of features, with scikit-learn's interface and results.

`kmeans` and `minibatch` derive from `base`; `functional` is `k_means`, which needs no scikit-learn.
`counterpart` asks scikit-learn for its own rules, and `patching` puts fastseg in its place.
"""
