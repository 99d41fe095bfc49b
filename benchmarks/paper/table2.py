"""Table 2 of the paper, KDD99: make reproduce NAME=table2"""

from published import TABLE_2
from tables import table

if __name__ == "__main__":
    table("table2", "kdd99", "Table 2: KDD99", TABLE_2)
