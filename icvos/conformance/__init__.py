"""The conformance kit: whether a method keeps the contract that the runner and the board rely on.

    pytest --pyargs icvos.conformance --method NAME

`checks.CHECKS` are plain functions that raise an error saying what to change, so that a method's own tests can call them
without that command; `docs/add-a-method.md` shows how. Everything is made up on the spot: no data set is needed.
"""
