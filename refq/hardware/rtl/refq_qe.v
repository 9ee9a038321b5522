// QE, the quantization unit of ENQ (paper A, Fig. 2(a)): a layer's values to its codes,
//   code = min((value + half) >> a, 2^E - 1),  a = q_m - E by layer,
// with half = 2^(a-1) where NEAREST is 1, else 0 (docs/contract.md, section 2).
module refq_qe #(
    parameter LAYERS = 2,
    parameter LAYER_BITS = 1,   // of the index of a layer
    parameter VALUE_BITS = 12,  // of the widest layer's values
    parameter CODE_BITS = 5,    // of the widest layer's codes
    parameter SHIFT_BITS = 3,   // of a
    parameter NEAREST = 1,
    parameter SATURATE = 1,     // 0 where no value of a layer is beyond its codes
    parameter [LAYERS*SHIFT_BITS-1:0] SHIFTS = 6'o77,    // a of each layer, layer 0 lowest
    parameter [LAYERS*CODE_BITS-1:0] LIMITS = 10'o1777  // 2^E - 1 of each layer
) (
    input wire [LAYER_BITS-1:0] layer,
    input wire [VALUE_BITS-1:0] value,
    output wire [CODE_BITS-1:0] code
);
    localparam SUM_BITS = VALUE_BITS + CODE_BITS + 1;  // holds any index before its limit

    wire [SHIFT_BITS-1:0] amount;
    wire [CODE_BITS-1:0] limit;
    refq_rows #(LAYERS, LAYER_BITS, SHIFT_BITS, SHIFTS) amounts (layer, amount);
    refq_rows #(LAYERS, LAYER_BITS, CODE_BITS, LIMITS) limits (layer, limit);

    // one bit is kept below the point: (x + 2^(a-1)) >> a is (x >> a) + bit a-1 of x
    wire [VALUE_BITS:0] shifted = {value, 1'b0} >> amount;
    wire up = (NEAREST != 0) & shifted[0];
    wire [SUM_BITS-1:0] index = {{CODE_BITS + 1{1'b0}}, shifted[VALUE_BITS:1]}
        + {{SUM_BITS - 1{1'b0}}, up};

    // limits are all ones, so any other bit is beyond them
    wire beyond = |(index & ~{{SUM_BITS - CODE_BITS{1'b0}}, limit});
    wire [CODE_BITS-1:0] low = index[CODE_BITS-1:0];
    assign code = (SATURATE != 0) ? (low | {CODE_BITS{beyond}}) & limit : low;
endmodule
