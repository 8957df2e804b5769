"""A script that watches its training and ends without closing its run."""

from __future__ import annotations

from loops import Loop


def main() -> None:
    loop = Loop(name="left")
    loop.until(lambda: loop.steps == 20)
    print(loop.run.id)


if __name__ == "__main__":
    main()
