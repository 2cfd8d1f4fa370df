"""Measuring on this machine: whose answers agree, and how long each took.

`contest` lets implementations do the same work in turns; `cases` and `implementations` say
what work and whose; `suite` runs them all, and `page` makes a report of what they found.
"""
