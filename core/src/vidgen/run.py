"""`python -m vidgen.run RECIPE`: the same as `vidgen-run`, for launchers that start modules."""

from vidgen.cli.run import main

if __name__ == "__main__":
    main()
