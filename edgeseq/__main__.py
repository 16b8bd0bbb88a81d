"""`python -m edgeseq`: the same as the command `edgeseq`; what torchrun starts."""

from edgeseq.cli import main

if __name__ == "__main__":
    main()
