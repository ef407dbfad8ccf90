"""How a value is refused: one line that names the key, what is allowed and what came."""


class ConfigError(ValueError):
    """A refused value. The message is one line: key, what is allowed, what came."""

    def __init__(self, key: str, allowed: str, received: object) -> None:
        super().__init__(f"{key}: expected {allowed}, got {_described(received)}")
        self.key, self.allowed, self.received = key, allowed, received

    def __reduce__(self) -> tuple[type, tuple[str, str, object]]:
        return type(self), (self.key, self.allowed, self.received)


def _described(value: object) -> str:
    """A value in one line: arrays and tables by their shape, long text shortened."""
    if isinstance(shape := getattr(value, "shape", None), tuple) and shape:
        kind = type(value).__name__
        return f"{'an array' if kind == 'ndarray' else f'a {kind}'} of shape {shape}"
    if isinstance(value, list | tuple) and any(hasattr(item, "shape") for item in value):
        return f"({', '.join(map(_described, value[:5]))}{', ...' if len(value) > 5 else ''})"
    text = " ".join(map(str.strip, repr(value).splitlines()))
    return text if len(text) <= 200 else f"{text[:150]} ... {text[-40:]}"
