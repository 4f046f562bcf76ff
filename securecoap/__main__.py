"""``python -m securecoap``: the same as the command ``securecoap``."""

from securecoap.cli import main

if __name__ == "__main__":
    main()
