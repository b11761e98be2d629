"""Methods that are foreign programs or container images: files go in, mask PNGs come out (docs/programs.md).

`layout` writes what a call is given and reads what it left, `launch` says how it is started, `job` and `keeper` watch over it
while it runs, `landlock` shuts it in, `closed` says from what, and `method` makes a segmenter of all that.
"""
