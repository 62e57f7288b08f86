import pandas_ta as ta

class MaNouvelleStrategie(Strategy):
    def __init__(self, candles, balance, position=None):
        self.candles = candles
        self.balance = balance
        self.position = position
        self.candles["ema10"] = ta.ema(self.candles["close"], length=10)
        self.candles["ema20"] = ta.ema(self.candles["close"], length=20)

    def should_long(self) -> bool:
        if len(self.candles) < 21:
            return False
        ema10_now, ema10_prev = self.candles["ema10"].iloc[-1], self.candles["ema10"].iloc[-2]
        ema20_now, ema20_prev = self.candles["ema20"].iloc[-1], self.candles["ema20"].iloc[-2]
        return ema10_prev < ema20_prev and ema10_now > ema20_now

    def should_short(self) -> bool:
        if len(self.candles) < 21:
            return False
        ema10_now, ema10_prev = self.candles["ema10"].iloc[-1], self.candles["ema10"].iloc[-2]
        ema20_now, ema20_prev = self.candles["ema20"].iloc[-1], self.candles["ema20"].iloc[-2]
        return ema10_prev > ema20_prev and ema10_now < ema20_now

    def calculate_position_size(self) -> float:
        return self.balance * 0.1

    def calculate_stop_loss(self) -> float:
        return 0.02

    def calculate_take_profit(self) -> float:
        return 0.04
