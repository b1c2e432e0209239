"""Chinese surnames, and the words around a name that say it is one."""

# ruff: noqa: E501, SIM905  (lists read better in long lines)
from __future__ import annotations

COMMON = frozenset(
    "王李张刘陈杨黄赵吴周徐孙马朱胡郭何高林罗郑梁谢宋唐许韩冯邓曹彭曾肖田董袁潘于蒋蔡余杜叶程苏魏吕丁任沈"
    "姚卢姜崔钟谭陆汪范金石廖贾夏韦付方白邹孟熊秦邱江尹薛闫段雷侯龙史陶黎贺顾毛郝龚邵万钱严覃武戴莫孔向汤"
)
"""The hundred most frequent (public security ministry's yearly report)."""
RARE = frozenset(
    "常温康施文牛樊葛邢安齐易乔伍庞颜倪庄聂章鲁岳翟殷詹申欧耿关兰焦俞左柳甘祝包宁尚符舒阮柯纪梅童凌毕单季裴"
    "霍阎傅萧赖涂成苗谷盛曲翁冉骆蓝路游辛靳欧管柴蒙鲍华喻祁蒲房滕屈饶解牟艾尤阳时穆农司卓古吉缪简车项连芦麦褚娄窦戚"
    "岑景党宫费卜冷晏席卫米柏宗瞿桂全佟应臧闵苟邬边卞姬师和仇栾隋商刁沙荣巫寇桑郎甄丛仲虞敖巩明佘池查麻苑迟"
    "邝官封谈匡鞠惠荆乐冀郁胥南班储原栗燕楚鄢劳谌奚皮粟冼蔺楼盘满闻位厉伊仝区郜海阚花权强帅屠豆朴盖练廉禹井"
)
DOUBLE = frozenset(
    "欧阳 上官 司马 诸葛 司徒 东方 皇甫 尉迟 公孙 慕容 令狐 宇文 长孙 轩辕 夏侯 端木 独孤 南宫 西门 百里 闻人 申屠"
    " 澹台 钟离 呼延 濮阳 公羊 万俟 赫连 拓跋 太史 淳于 单于 完颜 纳兰 第五 公冶 宗政 仲孙 东郭 南门 左丘".split()
)
STRONG = frozenset(
    "@ 姓名 名字叫 名字 名叫 联系人 联络人 收件人 收货人 收款人 寄件人 发件人 付款人 持卡人 开户人 户名 申请人 投保人"
    " 保险人 受益人 报案人 患者 病人 乘客 旅客 乘车人 经办人 负责人 代表人 法人 签收人 担保人"
    " 借款人 租客 房东 业主 车主 股东 当事人 原告 被告 考生 家长 我叫 叫做 他叫 她叫 叫 房主 户主 登记人 预订人 入住人 投诉人 本人".split()
)
"""What stands before a name and little else."""
WEAK = frozenset(
    "我是 客户 用户 员工 学生 同事 同学 朋友 会员 老师 司机 医生 客服 经理 联系 找 通知 转告 告诉 询问 采访 任命 聘请 感谢 致"
    " 邀请 表扬 投诉 陪同 委托 见到 遇到 遇见 老公 老婆 妻子 丈夫 儿子 女儿 爱人 母亲 父亲 妈妈 爸爸 和 跟 给 由 让 请 把 被 向".split()
)
"""What stands before a name and before much else."""
TITLES = frozenset(
    "先生 女士 小姐 老师 同学 经理 医生 大夫 主任 教授 总监 律师 师傅 阿姨 博士 院长 校长 局长 处长 科长 部长 董事长 总裁"
    " 护士 警官 法官 书记 主管 店长 队长 组长 同志 老板 太太 夫人 工程师 会计 秘书 总经理".split()
)
SPEECH = frozenset(
    "说 表示 认为 指出 告诉 介绍 反映 回忆 称 透露 强调 补充 签收 来电 致电 投诉 预订 申请 购买 下单 报名 入住 就诊".split()
)
OPENERS = frozenset(
    "昨天 今天 明天 前天 后天 昨晚 今早 早上 上午 下午 中午 晚上 刚才 刚刚 后来 当时 那天 之前 以前 上周 下周 本周 上月 去年 今年"
    " 周一 周二 周三 周四 周五 周六 周日 但 但是 而 因为 所以 如果 听说 据说 听 换成 换成了 缺席 出席 没想到 还有 就是 只有".split()
)
"""What often opens a clause whose subject may be a name; it announces none."""
