"""`python -m vidgen.run RECIPE`: the same as `vidgen-run`, for launchers that start modules."""

from vidgen.cli.run import main
from vidgen.launch import end_with_launcher

if __name__ == "__main__":
    end_with_launcher()
    main()
