"""What runs will take before anything is spent: model calls, arithmetic, time, money, memory, disk."""
