// QE, the quantization unit of ENQ (paper A, Fig. 2(a)): a layer's values to its codes,
//   code = min((value + half) >> a, 2^E - 1),  a = q_m - E by layer,
// with half = 2^(a-1) where NEAREST is 1, else 0 (docs/contract.md, section 2). A layer with signed
// values and codes, which keep all their upper bits, has the same code of value + 2^(q_m-1): signs
// are turned on the way in and out.
module refq_qe #(
    parameter LAYERS = 2,
    parameter LAYER_BITS = 1,   // of the index of a layer
    parameter VALUE_BITS = 12,  // of the widest layer's values
    parameter CODE_BITS = 5,    // of the widest layer's codes
    parameter SHIFT_BITS = 3,   // of a
    parameter NEAREST = 1,
    parameter SATURATE = 1,     // 0 where no value of a layer is beyond its codes
    parameter [LAYERS*SHIFT_BITS-1:0] SHIFTS = 6'o77,    // a of each layer, layer 0 lowest
    parameter [LAYERS*CODE_BITS-1:0] LIMITS = 10'o1777,  // 2^E - 1 of each layer
    parameter SIGNED = 0,       // 1 where a layer has signs
    // 2^(q_m-1) and 2^(E-1) of layers with signs, 0 of others
    parameter [LAYERS*VALUE_BITS-1:0] VALUE_SIGNS = {LAYERS * VALUE_BITS{1'b0}},
    parameter [LAYERS*CODE_BITS-1:0] CODE_SIGNS = {LAYERS * CODE_BITS{1'b0}}
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

    wire [VALUE_BITS-1:0] value_sign;
    wire [CODE_BITS-1:0] code_sign;
    generate
        if (SIGNED != 0) begin : signs
            refq_rows #(LAYERS, LAYER_BITS, VALUE_BITS, VALUE_SIGNS) of_values (layer, value_sign);
            refq_rows #(LAYERS, LAYER_BITS, CODE_BITS, CODE_SIGNS) of_codes (layer, code_sign);
        end else begin : no_signs
            assign value_sign = {VALUE_BITS{1'b0}};
            assign code_sign = {CODE_BITS{1'b0}};
        end
    endgenerate

    // one bit is kept below the point: (x + 2^(a-1)) >> a is (x >> a) + bit a-1 of x
    wire [VALUE_BITS:0] shifted = {value ^ value_sign, 1'b0} >> amount;
    wire up = (NEAREST != 0) & shifted[0];
    wire [SUM_BITS-1:0] index = {{CODE_BITS + 1{1'b0}}, shifted[VALUE_BITS:1]}
        + {{SUM_BITS - 1{1'b0}}, up};

    // limits are all ones, so any other bit is beyond them
    wire beyond = |(index & ~{{SUM_BITS - CODE_BITS{1'b0}}, limit});
    wire [CODE_BITS-1:0] low = index[CODE_BITS-1:0];
    wire [CODE_BITS-1:0] limited = (SATURATE != 0) ? (low | {CODE_BITS{beyond}}) & limit : low;
    assign code = limited ^ code_sign;
endmodule
