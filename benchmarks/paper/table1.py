"""Table 1 of the paper, NSL-KDD: make reproduce NAME=table1"""

from published import TABLE_1
from tables import table

if __name__ == "__main__":
    table("table1", "nsl-kdd", "Table 1: NSL-KDD", TABLE_1)
