"""The patterns that the peers' operators are given: mobile numbers, tags, control characters."""

MOBILE = r"(?<![0-9])1[3-9][0-9]{9}(?![0-9])"
TAG = r"<[^>]+>"
CONTROL = r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]"
TEST_SHARE = 0.2


def side(text: str) -> str:
    """`test` or `train`, by a hash of the text."""
    import zlib

    return "test" if zlib.crc32(text.encode()) < TEST_SHARE * 2**32 else "train"
